"""Objectives over noised targets. Everything here is post-processing of releases and public text, hence free."""
