"""Known functions: how exact does a handful of circuits get, and who is more exact at as many parameters?"""
