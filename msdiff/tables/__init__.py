"""One module per table: data frames in, data frame out."""
