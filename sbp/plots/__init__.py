"""Every figure, drawn with matplotlib and numpy alone; nothing here knows runs, configs or MLflow."""
