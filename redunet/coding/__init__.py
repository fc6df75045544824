"""Coding lengths: the number of nats that encode samples, all together or class by class."""

from redunet.coding.increment import CodedClasses
from redunet.coding.length import coding_length
from redunet.coding.merging import Merging, merge

__all__ = ["CodedClasses", "Merging", "coding_length", "merge"]
