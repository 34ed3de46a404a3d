"""How data sets lie on the disk: a file per layout, each giving a Listing."""
