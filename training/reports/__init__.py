"""Reports for people: plots, galleries, HTML and Markdown pages, the model card."""
