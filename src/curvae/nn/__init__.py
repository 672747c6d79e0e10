"""Networks: the paper's for MNIST and CelebA, perceptrons and linear maps. Any ``nn.Module`` will do as well."""

from curvae.nn.celeba import CelebADecoder, CelebAEncoder
from curvae.nn.dense import MLPDecoder, MLPEncoder, linear_decoder, linear_encoder
from curvae.nn.half import HalfConvolutions
from curvae.nn.mnist import MNISTDecoder, MNISTEncoder
from curvae.nn.same import SameConv2d, SameConvTranspose2d

__all__ = [
    "CelebADecoder",
    "CelebAEncoder",
    "HalfConvolutions",
    "MLPDecoder",
    "MLPEncoder",
    "MNISTDecoder",
    "MNISTEncoder",
    "SameConv2d",
    "SameConvTranspose2d",
    "linear_decoder",
    "linear_encoder",
]
