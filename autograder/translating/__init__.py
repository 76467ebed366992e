"""The course in other languages: what there is to translate, catalogs of it, and handouts that are made with them."""
