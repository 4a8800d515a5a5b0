"""Figures as pages and pictures for people: plots, galleries, HTML, Markdown, the model card."""
