"""Before any hour is spent: does a subject obey the rules that every suite relies on, and what will a suite cost?"""
