"""The splits, one file each: a function that gives every interaction its part."""
