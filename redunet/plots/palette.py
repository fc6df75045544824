"""Colours that colour-blind people tell apart, and that print well."""

# Okabe and Ito's, without yellow and black, with grey.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
