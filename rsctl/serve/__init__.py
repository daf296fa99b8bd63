"""The dashboard in a browser: a local web server, and who may connect to it."""
