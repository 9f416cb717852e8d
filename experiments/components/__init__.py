"""Components by kind and name: how they are found, read and hashed, Paddock's own and those of plug-ins."""
