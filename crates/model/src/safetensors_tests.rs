//! Tests of reading and writing safetensors files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{StoredType, TensorFiles, TensorView, write_tensors};

/// An empty directory of this test's own.
fn directory(test: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("brevity-safetensors-{}-{test}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

#[expect(clippy::disallowed_methods, reason = "a test writes the malformed files it reads")]
fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

fn error_of(directory: &Path) -> String {
    TensorFiles::open(directory).unwrap_err().to_string()
}

#[test]
fn tensors_come_back_as_written_with_bf16_and_f16_rounded_to_nearest_even() {
    // Values and bit patterns by hand: bf16 keeps 7 fraction bits, f16 keeps 10.
    // 1 + 2^-8 lies halfway between bf16 1 and 1 + 2^-7: even is 1. 1 + 3·2^-8 lies halfway to the even 1 + 2^-6.
    // 1 + 2^-11 lies halfway in f16: even is 1.
    let values = [1.0, -2.5, 1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, 1.0 + 1.0 / 2048.0, 0.0];
    for (stored, expected) in [
        (StoredType::F32, values),
        (StoredType::Bf16, [1.0, -2.5, 1.0, 1.0 + 1.0 / 64.0, 1.0, 0.0]),
        (StoredType::F16, [1.0, -2.5, 1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, 1.0, 0.0]),
    ] {
        let directory = directory(stored.torch_name());
        let tensors = [
            TensorView { name: "b", shape: vec![2, 3], values: &values },
            TensorView { name: "a", shape: vec![], values: &values[1..2] },
        ];
        write_tensors(&directory.join("model.safetensors"), &tensors, stored).unwrap();
        let files = TensorFiles::open(&directory).unwrap();
        assert_eq!(files.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(files.shape("b"), Some([2, 3].as_slice()));
        assert_eq!(files.stored_type("b").unwrap(), stored);
        assert_eq!(files.read("b", &[2, 3]).unwrap(), expected);
        assert_eq!(files.read("a", &[]).unwrap(), [-2.5]);
        fs::remove_dir_all(directory).unwrap();
    }
}

#[test]
fn a_file_has_exactly_the_bytes_of_the_format() {
    let directory = directory("bytes");
    let path = directory.join("model.safetensors");
    write_tensors(&path, &[TensorView { name: "w", shape: vec![2], values: &[1.0, -2.0] }], StoredType::Bf16).unwrap();
    // Worked out from the format's description: length, header padded to 8 bytes, bf16 1.0 = 0x3f80, -2.0 = 0xc000.
    let header = br#"{"__metadata__":{"format":"pt"},"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}  "#;
    let mut expected = (header.len() as u64).to_le_bytes().to_vec();
    expected.extend(header);
    expected.extend([0x80, 0x3f, 0x00, 0xc0]);
    assert_eq!(fs::read(&path).unwrap(), expected);
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn shards_are_found_through_the_index() {
    let directory = directory("shards");
    for (file, name, values) in [("one.safetensors", "x", [1.0, 2.0]), ("two.safetensors", "y", [3.0, 4.0])] {
        let tensor = TensorView { name, shape: vec![2], values: &values };
        write_tensors(&directory.join(file), &[tensor], StoredType::F32).unwrap();
    }
    let index = directory.join("model.safetensors.index.json");
    write(&index, br#"{"metadata":{},"weight_map":{"x":"one.safetensors","y":"two.safetensors"}}"#);
    let files = TensorFiles::open(&directory).unwrap();
    assert_eq!(files.read("x", &[2]).unwrap(), [1.0, 2.0]);
    assert_eq!(files.read("y", &[2]).unwrap(), [3.0, 4.0]);
    write(&index, br#"{"weight_map":{"z":"one.safetensors"}}"#);
    assert!(error_of(&directory).contains("one.safetensors: has no tensor `z`"));
    write(&index, br#"{"weight_map":{"z":"../one.safetensors"}}"#);
    assert!(error_of(&directory).contains("places tensor `z` in `../one.safetensors`"));
    write(&index, b"[]");
    assert!(error_of(&directory).contains("not an index"));
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn an_error_names_the_file_the_tensor_and_both_shapes() {
    let directory = directory("errors");
    assert!(error_of(&directory).contains("has neither model.safetensors nor model.safetensors.index.json"));
    let path = directory.join("model.safetensors");
    write_tensors(&path, &[TensorView { name: "w", shape: vec![2], values: &[1.0, 2.0] }], StoredType::F32).unwrap();
    let files = TensorFiles::open(&directory).unwrap();
    let shape = files.read("w", &[1, 2]).unwrap_err().to_string();
    assert!(shape.contains("model.safetensors: tensor `w` has shape [2] where config.json asks for [1, 2]"), "{shape}");
    assert!(files.read("v", &[2]).unwrap_err().to_string().contains("has no tensor `v`"));
    let large = TensorView { name: "w", shape: vec![1], values: &[65_520.0] };
    let overflow = write_tensors(&path, &[large], StoredType::F16).unwrap_err().to_string();
    assert!(overflow.contains("tensor `w` holds 65520, which float16 cannot hold"), "{overflow}");
    assert!(!directory.join("model.safetensors.partial").exists());
    assert_eq!(TensorFiles::open(&directory).unwrap().read("w", &[2]).unwrap(), [1.0, 2.0]);
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_malformed_file_is_refused() {
    let directory = directory("malformed");
    let path = directory.join("model.safetensors");
    let with_header = |header: &str, values: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + values, 0);
        bytes
    };
    let huge = u64::MAX.to_le_bytes().to_vec();
    let cases = [
        b"short".to_vec(),
        huge,
        with_header("{", 0),
        with_header(r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 7),
        with_header(r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4),
        with_header(r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#, 12),
        with_header(r#"{"w":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,8]}}"#, 8),
    ];
    for bytes in cases {
        write(&path, &bytes);
        assert!(error_of(&directory).contains("not a whole safetensors file"), "{bytes:?}");
    }
    write(&path, &with_header(r#"{"w":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#, 8));
    let integer = TensorFiles::open(&directory).unwrap().read("w", &[1]).unwrap_err().to_string();
    assert!(integer.contains("tensor `w` is stored as I64; convert it to F32, F16 or BF16"), "{integer}");
    fs::remove_dir_all(directory).unwrap();
}
