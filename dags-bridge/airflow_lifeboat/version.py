"""The version of the package and of the engine in it: one number, checked when the engine is bundled."""

VERSION = '0.1.0'
