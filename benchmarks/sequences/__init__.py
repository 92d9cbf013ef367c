"""Forecasting of series by recurrent networks of matched size."""
