"""Rates by their definition."""

import torch


def log_det(A):
    return torch.linalg.slogdet(torch.eye(len(A), dtype=A.dtype) + A)[1]


def negative_rate_reduction(Z, labels, eps_sq=0.5):
    """R_c − R by the definition."""
    m, d = Z.shape
    value = -log_det(d / (m * eps_sq) * Z.T @ Z) / 2
    for members in (Z[labels == j] for j in labels.unique()):
        rate = log_det(d / (len(members) * eps_sq) * members.T @ members) / 2
        value = value + len(members) / m * rate
    return value
