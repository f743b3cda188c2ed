"""Curvature matrices of a subject: Hessian, Gauss-Newton, empirical Fisher, and what is made of them."""

from algobias.probes.matrices.gauss_newton import GaussNewton, fisher, gauss_newton
from algobias.probes.matrices.hessian import Hessian, hessian
from algobias.probes.matrices.linear import Operator, explicit, scaled

__all__ = ["GaussNewton", "Hessian", "Operator", "explicit", "fisher", "gauss_newton", "hessian", "scaled"]
