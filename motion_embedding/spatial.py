"""Values that vary smoothly over the picture: polynomials of low degree in x and y.

A camera moves every position by an amount that is constant (pan), linear (zoom, roll) or quadratic (perspective) in
its place; an object's motion is none of these.
"""

from __future__ import annotations

import torch

DEGREES = {"mean": 0, "linear": 1, "quadratic": 2}


def polynomial_basis(height: int, width: int, degree: int) -> torch.Tensor:
    """All polynomials of x and y up to ``degree`` on the cells of a grid, ``[height * width, K]``, float32.

    The columns are orthogonal, each of mean square one, and in order of degree: 1; x, y; x^2, xy, y^2 (each without
    its share of the columns before it). Positions run from -1 to 1 over the picture, sampled at the middle of every
    cell. K is 1, 3 and 6 for degrees 0, 1 and 2, and less where the grid is too small to tell the columns apart.
    """
    rows, columns = _axis_basis(height, degree), _axis_basis(width, degree)
    powers = [
        (total - in_x, in_x)
        for total in range(degree + 1)
        for in_x in range(total, -1, -1)
        if total - in_x < rows.shape[1] and in_x < columns.shape[1]
    ]
    products = [(rows[:, None, in_y] * columns[None, :, in_x]).flatten() for in_y, in_x in powers]
    return torch.stack(products, 1).float()


def project(values: torch.Tensor, degree: int) -> torch.Tensor:
    """The coefficients ``[K, F, C]`` whose polynomial is closest to ``values [h, w, F, C]`` (least squares)."""
    basis = polynomial_basis(values.shape[0], values.shape[1], degree).to(values)
    return torch.einsum("pk,pfc->kfc", basis, values.flatten(0, 1)) / len(basis)


def expand(coefficients: torch.Tensor, height: int, width: int, degree: int) -> torch.Tensor:
    """The values ``[height, width, F, C]`` of the polynomial with these coefficients ``[K, F, C]``."""
    basis = polynomial_basis(height, width, degree).to(coefficients)
    return torch.einsum("pk,kfc->pfc", basis, coefficients).unflatten(0, (height, width))


def smooth(values: torch.Tensor, degree: int) -> torch.Tensor:
    """What of ``values [h, w, F, C]`` is a polynomial of ``degree`` in the position: the least-squares fit."""
    height, width = values.shape[:2]
    return expand(project(values, degree), height, width, degree)


def _axis_basis(size: int, degree: int) -> torch.Tensor:
    """Orthogonal polynomials on the cells of one axis, ``[size, min(size, degree + 1)]``, mean squares one."""
    position = (2 * torch.arange(size, dtype=torch.float64) + 1) / size - 1
    powers = torch.stack([position**power for power in range(min(size, degree + 1))], 1)
    orthonormal, triangle = torch.linalg.qr(powers)
    return orthonormal * triangle.diagonal().sign() * size**0.5
