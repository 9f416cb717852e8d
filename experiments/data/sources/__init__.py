"""Where the files of a data set come from: folders, archives, downloads, installed packages."""
