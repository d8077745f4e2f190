"""Money: currencies, named rounding and exact decimal arithmetic; the only place that rounds."""
