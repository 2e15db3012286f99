"""Detection: anchors, matching, losses, decoded boxes, mean average precision, drawings.

Boxes are (left, top, right, bottom) in pixels, counted from the outer edge of the first pixel, unless said otherwise.
"""
