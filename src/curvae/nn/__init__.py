"""Networks: the paper's for MNIST and CelebA, perceptrons and linear maps. Any ``nn.Module`` will do as well."""

from curvae.cpu.weight_gradients import MatrixWeightGradients
from curvae.nn.beside import Beside, Observed
from curvae.nn.celeba import CelebADecoder, CelebAEncoder
from curvae.nn.dense import MLPDecoder, MLPEncoder, linear_decoder, linear_encoder
from curvae.nn.mnist import MNISTDecoder, MNISTEncoder
from curvae.nn.priors import ConditionalNormalPrior, NormalPrior
from curvae.nn.same import SameConv2d, SameConvTranspose2d

__all__ = [
    "Beside",
    "CelebADecoder",
    "CelebAEncoder",
    "ConditionalNormalPrior",
    "MLPDecoder",
    "MLPEncoder",
    "MNISTDecoder",
    "MNISTEncoder",
    "MatrixWeightGradients",
    "NormalPrior",
    "Observed",
    "SameConv2d",
    "SameConvTranspose2d",
    "linear_decoder",
    "linear_encoder",
]
