"""Curvature matrices of a subject: Hessian, Gauss-Newton, empirical Fisher, and what is made of them."""

from algobias.probes.gauss_newton import GaussNewton, fisher, gauss_newton
from algobias.probes.hessian import Hessian, hessian
from algobias.probes.linear import Operator, explicit, scaled

__all__ = ["GaussNewton", "Hessian", "Operator", "explicit", "fisher", "gauss_newton", "hessian", "scaled"]
