"""What calls of modules change besides their results, put back: buffers, attributes, random states."""
