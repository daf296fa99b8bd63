"""Other machines, reached with OpenSSH: commands run there, installation, and results brought here."""
