"""Config in, objects built, loop called: what the command line and users' scripts call."""
