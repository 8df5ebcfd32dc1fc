"""What a method is made of, from its YAML file to the recipe as resolved."""
