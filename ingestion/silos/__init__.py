"""One module per silo: all the city says about a source of data. To add a silo, add a module here."""
