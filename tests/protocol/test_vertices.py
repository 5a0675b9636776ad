from rengafs.protocol import vertices


def test_properties_come_back_flat():
    vertex = vertices.make(
        7, vertices.FILE, {"resource:file_name": "a", "system:creation_time": 5, "labels": ["x"]}
    )

    assert vertices.flatten(vertex) == {
        "resource:file_name": "a",
        "system:creation_time": 5,
        "labels": ["x"],
    }


def test_cardinality_says_whether_there_may_be_several():
    vertex = vertices.make(7, vertices.FILE, {"one": "a", "many": []})

    assert [prop.cardinality for prop in vertex.properties] == ["single", "set"]
