"""Records: frozen values with named fields."""

from __future__ import annotations

import copy
import pickle

from typing import ClassVar

import pytest

from strongroom._record import Record


class Point(Record):
    x: int
    y: int = 0


class Point3D(Point):
    kind: ClassVar[str] = "point"
    z: int = 0

    def length(self) -> int:
        return abs(self.x) + abs(self.y) + abs(self.z)


class Empty(Record):
    pass


class AwkwardNames(Record):
    """Names that the machinery could use itself."""

    content: int
    defaults: int = 1
    namespace: int = 2
    fields: int = 3
    name: int = 4
    record: int = 5


def test_fields_are_given_by_name() -> None:
    point = Point(x=1, y=2)
    assert (point.x, point.y) == (1, 2)


def test_a_default_stands_in() -> None:
    assert Point(x=1).y == 0


def test_positions_are_refused() -> None:
    with pytest.raises(TypeError):
        Point(1, 2)


def test_a_missing_field_is_refused() -> None:
    with pytest.raises(TypeError, match="x"):
        Point(y=2)


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(TypeError, match="z"):
        Point(x=1, z=2)


def test_fields_are_inherited_in_order() -> None:
    assert list(Point3D(x=1).as_dict()) == ["x", "y", "z"]


def test_a_class_variable_is_no_field() -> None:
    assert Point3D.kind == "point"
    with pytest.raises(TypeError):
        Point3D(x=1, kind="line")


def test_methods_see_the_fields() -> None:
    assert Point3D(x=1, y=-2, z=3).length() == 6


def test_a_field_may_have_any_name() -> None:
    record = AwkwardNames(content=10)
    assert record.as_dict() == {
        "content": 10,
        "defaults": 1,
        "namespace": 2,
        "fields": 3,
        "name": 4,
        "record": 5,
    }


def test_a_record_never_changes() -> None:
    point = Point(x=1)
    with pytest.raises(AttributeError, match="immutable"):
        point.x = 2
    with pytest.raises(AttributeError, match="immutable"):
        point.new = 2
    with pytest.raises(AttributeError, match="immutable"):
        del point.x
    assert point == Point(x=1)


def test_replacing_makes_a_copy() -> None:
    point = Point(x=1)
    assert point.replace(y=5) == Point(x=1, y=5)
    assert point == Point(x=1)


def test_replacing_what_is_not_there_is_refused() -> None:
    with pytest.raises(TypeError):
        Point(x=1).replace(z=1)


def test_records_are_equal_by_class_and_fields() -> None:
    assert Point(x=1, y=0) == Point(x=1)
    assert Point(x=1) != Point(x=2)
    assert Point(x=1) != Point3D(x=1)
    assert Point(x=1) != (1, 0)
    assert Empty() == Empty()


def test_equal_records_have_one_hash() -> None:
    assert len({Point(x=1), Point(x=1, y=0), Point(y=0, x=1)}) == 1
    assert len({Point(x=1), Point3D(x=1)}) == 2


def test_the_repr_shows_every_field() -> None:
    assert repr(Point(x=1, y=2)) == "Point(x=1, y=2)"
    assert repr(Empty()) == "Empty()"


def test_a_record_can_be_copied_and_pickled() -> None:
    point = Point3D(x=1, z=3)
    assert copy.copy(point) == point
    assert copy.deepcopy(point) == point
    assert pickle.loads(pickle.dumps(point)) == point
