"""Small pretrained predictors that ship with the package, each with how it was made beside it."""
