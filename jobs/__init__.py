"""The data plane: training and sampling. torch lives here."""
