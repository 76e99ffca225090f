"""A study in which radiologists read real and generated follow-ups without knowing which is which.

design      which slices are shown, as what, in which order
pictures    a slice as the page holds it: 12 bits a pixel
questions   what a reader is asked
page        one page of HTML, to be opened from disk
answers     what readers sent back, checked and joined with the key
"""
