"""The model that ``promptlesion`` draws with where a recipe names no weights; ``card.json`` says what made it.

Licence: that of the package. It has seen phantoms alone, with lesions that ``texture`` drew.
"""
