"""Colours of one camera made those of another, at every pixel by a Kolmogorov-Arnold layer of its own."""

from classical.colour.cmkan import CmKAN
from classical.colour.loss import colour_loss, ssim
from classical.colour.pixel import PixelFunction, PixelSpline
from classical.colour.train import fine_tune, train_colours

__all__ = ["CmKAN", "PixelFunction", "PixelSpline", "colour_loss", "fine_tune", "ssim", "train_colours"]
