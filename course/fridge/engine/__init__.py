"""The serving engine: what the parts of unit 04 become when they are put together and made fast."""
