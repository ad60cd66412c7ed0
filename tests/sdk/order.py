"""The object that the scripts for typed answers ask for."""
from typing import Literal, Optional

from pydantic import BaseModel


class Item(BaseModel):
    name: Literal["apple", "pear"]
    count: Literal[1, 2, 3]


class Order(BaseModel):
    paid: bool
    first: Item
    second: Optional[Item]
