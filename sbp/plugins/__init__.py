"""What can be added from outside: registries of classes, and the packages that add to them."""
