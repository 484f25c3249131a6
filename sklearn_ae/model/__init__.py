"""What a fit produces: a model, and the recipe that it is made by."""
