"""Colours: the pictures of one camera made those of another, on scenes that are drawn rather than downloaded."""
