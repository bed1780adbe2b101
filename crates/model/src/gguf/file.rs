//! An opened GGUF file: metadata and tensors, which are read one at a time. It knows no architecture.

use std::{
    collections::BTreeMap,
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    blocks::BlockType,
    header::{HeaderReader, Metadata},
};
use crate::{ModelError, files};

/// Tensors are read in pieces of about this size.
const PIECE_BYTES: usize = 1 << 20;

/// A GGUF file with its parsed header.
#[derive(Debug)]
pub(super) struct GgufFile {
    pub(super) path: PathBuf,
    pub(super) metadata: Metadata,
    pub(super) tensors: BTreeMap<String, StoredTensor>,
    file: File,
}

/// Where a tensor lies in the file.
#[derive(Debug)]
pub(super) struct StoredTensor {
    /// Outermost dimension first, the reverse of the file's order.
    pub(super) shape: Vec<usize>,
    pub(super) kind: BlockType,
    /// From the beginning of the file.
    start: u64,
    bytes: u64,
}

impl GgufFile {
    /// Opens `path` and reads its header.
    pub(super) fn open(path: &Path) -> Result<Self, ModelError> {
        let (file, file_bytes) = files::open(path)?;
        let mut reader = HeaderReader::new(path, &file, file_bytes);
        if reader.u32()? != u32::from_le_bytes(*b"GGUF") {
            return Err(reader.error("it does not begin with GGUF; give a .gguf file"));
        }
        let version = reader.u32()?;
        if !matches!(version, 2 | 3) {
            let message = format!("its version is {version}; versions 2 and 3, little-endian, are read");
            return Err(reader.error(&message));
        }
        // A tensor's entry takes at least 24 bytes, a metadata entry at least 13.
        let tensor_count = reader.item_count(24)?;
        let value_count = reader.item_count(13)?;
        let mut metadata = Metadata::default();
        for _ in 0..value_count {
            let (key, value) = (reader.text()?, reader.value()?);
            if metadata.0.contains_key(&key) {
                return Err(reader.error(&format!("`{key}` occurs twice")));
            }
            metadata.0.insert(key, value);
        }
        let mut tensors = BTreeMap::new();
        for _ in 0..tensor_count {
            let (name, tensor) = read_tensor_entry(&mut reader)?;
            if tensors.contains_key(&name) {
                return Err(reader.error(&format!("tensor `{name}` occurs twice")));
            }
            tensors.insert(name, tensor);
        }
        let alignment = metadata.count("general.alignment").map_err(|message| reader.error(&message))?.unwrap_or(32);
        if !alignment.is_power_of_two() {
            return Err(reader.error(&format!("`general.alignment` is {alignment}, not a power of two")));
        }
        let values_start = reader.position().next_multiple_of(alignment as u64);
        for (name, tensor) in &mut tensors {
            let start = values_start.checked_add(tensor.start);
            match start.filter(|start| start.checked_add(tensor.bytes).is_some_and(|end| end <= file_bytes)) {
                Some(start) => tensor.start = start,
                None => {
                    return Err(reader.error(&format!("the file ends before tensor `{name}` does; download it again")));
                }
            }
        }
        refuse_overlaps(&tensors).map_err(|message| reader.error(&message))?;
        Ok(Self { path: path.to_owned(), metadata, tensors, file })
    }

    /// The error that the file cannot be imported because of `message`.
    pub(super) fn error(&self, message: String) -> ModelError {
        ModelError::File { path: self.path.clone(), message }
    }

    /// The tensor `name`.
    pub(super) fn tensor(&self, name: &str) -> Result<&StoredTensor, ModelError> {
        self.tensors.get(name).ok_or_else(|| self.error(format!("has no tensor `{name}`; download a complete file")))
    }

    /// The numbers of the tensor `name`, row-major.
    pub(super) fn read(&self, name: &str) -> Result<Vec<f32>, ModelError> {
        let tensor = self.tensor(name)?;
        let mut values = Vec::with_capacity(tensor.shape.iter().product());
        let piece_bytes = PIECE_BYTES / tensor.kind.block_bytes() * tensor.kind.block_bytes();
        let mut piece = vec![0; piece_bytes.min(tensor.bytes as usize)];
        let mut offset = 0;
        while offset < tensor.bytes {
            let rest = (tensor.bytes - offset) as usize;
            let piece_bytes = piece.len().min(rest);
            let piece = &mut piece[..piece_bytes];
            self.file.read_exact_at(piece, tensor.start + offset).map_err(|source| ModelError::Io {
                action: "read",
                path: self.path.clone(),
                source,
            })?;
            tensor.kind.decode(piece, &mut values);
            offset += piece_bytes as u64;
        }
        Ok(values)
    }
}

/// Refuses tensors that share bytes, of which a small file could make a model of any size; the error is a message.
fn refuse_overlaps(tensors: &BTreeMap<String, StoredTensor>) -> Result<(), String> {
    let mut places: Vec<_> = tensors.iter().filter(|(_, tensor)| tensor.bytes > 0).collect();
    places.sort_by_key(|(_, tensor)| tensor.start);
    match places.windows(2).find(|pair| pair[1].1.start - pair[0].1.start < pair[0].1.bytes) {
        None => Ok(()),
        Some(pair) => {
            let [first, second] = [pair[0].0, pair[1].0];
            Err(format!("tensors `{first}` and `{second}` share bytes; download it again"))
        }
    }
}

fn read_tensor_entry(reader: &mut HeaderReader) -> Result<(String, StoredTensor), ModelError> {
    let name = reader.text()?;
    let dimension_count = reader.u32()?;
    if dimension_count > 4 {
        return Err(reader.error(&format!("tensor `{name}` has {dimension_count} dimensions, more than 4")));
    }
    let mut shape = (0..dimension_count)
        .map(|_| Ok(usize::try_from(reader.u64()?).unwrap_or(usize::MAX)))
        .collect::<Result<Vec<_>, ModelError>>()?;
    let type_id = reader.u32()?;
    let start = reader.u64()?;
    let Some(kind) = BlockType::from_id(type_id) else {
        let message = format!(
            "tensor `{name}` has ggml type {type_id}; give a file in F32, F16, BF16, Q4_0, Q4_1, Q5_0, \
             Q5_1, Q8_0, Q4_K, Q5_K or Q6_K"
        );
        return Err(reader.error(&message));
    };
    let row_values = shape.first().copied().unwrap_or(1);
    let block_count = shape
        .iter()
        .try_fold(1_usize, |product, dimension| product.checked_mul(*dimension))
        .filter(|_| row_values % kind.block_values() == 0)
        .map(|count| count / kind.block_values());
    let Some(bytes) = block_count.and_then(|count| count.checked_mul(kind.block_bytes())) else {
        let kind = kind.name();
        return Err(reader.error(&format!("tensor `{name}` with dimensions {shape:?} cannot be stored as {kind}")));
    };
    shape.reverse();
    Ok((name, StoredTensor { shape, kind, start, bytes: bytes as u64 }))
}
