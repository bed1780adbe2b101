//! Tensors in safetensors files: a model directory's tensors read one at a time, and a file written in one pass.
//!
//! It knows names, shapes and stored types, not which tensors a model needs.
//! Format: <https://huggingface.co/docs/safetensors>, an 8-byte little-endian header length, a JSON header, the values.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use half::{bf16, f16};
use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};

use crate::{
    ModelError, Parameter, files,
    replace::{replace_file, write_failed},
};

const SINGLE_FILE: &str = "model.safetensors";
const INDEX_FILE: &str = "model.safetensors.index.json";
/// The `safetensors` crate's own bound on a header.
const HEADER_BYTES_MAX: u64 = 100_000_000;
/// Values are converted in pieces of this many, so that a tensor is in memory once.
const PIECE_VALUES: usize = 1 << 16;

/// How numbers are stored in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoredType {
    /// 32-bit IEEE floating point.
    F32,
    /// 16-bit IEEE floating point.
    F16,
    /// The upper 16 bits of an `F32`.
    Bf16,
}

impl StoredType {
    /// Size of one number.
    pub fn bytes(self) -> usize {
        match self {
            StoredType::F32 => 4,
            StoredType::F16 | StoredType::Bf16 => 2,
        }
    }

    /// The name `config.json` has for it in `torch_dtype`.
    pub fn torch_name(self) -> &'static str {
        match self {
            StoredType::F32 => "float32",
            StoredType::F16 => "float16",
            StoredType::Bf16 => "bfloat16",
        }
    }

    fn dtype(self) -> Dtype {
        match self {
            StoredType::F32 => Dtype::F32,
            StoredType::F16 => Dtype::F16,
            StoredType::Bf16 => Dtype::BF16,
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "`Dtype` is non-exhaustive; every other type is refused alike")]
    fn from_dtype(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(StoredType::F32),
            Dtype::F16 => Some(StoredType::F16),
            Dtype::BF16 => Some(StoredType::Bf16),
            _ => None,
        }
    }

    /// Appends the numbers stored in `bytes`, whose length is a multiple of [`Self::bytes`].
    pub(crate) fn decode(self, bytes: &[u8], values: &mut Vec<f32>) {
        match self {
            StoredType::F32 => values.extend(bytes.as_chunks().0.iter().map(|chunk| f32::from_le_bytes(*chunk))),
            StoredType::F16 => {
                values.extend(bytes.as_chunks().0.iter().map(|chunk| f16::from_le_bytes(*chunk).to_f32()));
            }
            StoredType::Bf16 => {
                values.extend(bytes.as_chunks().0.iter().map(|chunk| bf16::from_le_bytes(*chunk).to_f32()));
            }
        }
    }

    /// Appends `values` as stored bytes, rounded to nearest, ties to even.
    fn encode(self, values: &[f32], bytes: &mut Vec<u8>) {
        match self {
            StoredType::F32 => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            StoredType::F16 => bytes.extend(values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes())),
            StoredType::Bf16 => bytes.extend(values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes())),
        }
    }

    /// Why the values of tensor `name` can't be stored so: the first finite one that would become infinite.
    pub(crate) fn overflow(self, name: &str, values: &[f32]) -> Option<String> {
        let value = values.iter().find(|value| value.is_finite() && value.abs() > self.magnitude_max())?;
        let stored = self.torch_name();
        Some(format!("tensor `{name}` holds {value}, which {stored} cannot hold; store it as float32"))
    }

    /// The largest magnitude that rounds to a finite stored number.
    fn magnitude_max(self) -> f32 {
        match self {
            StoredType::F32 => f32::MAX,
            // Half a unit in the last place above the largest number rounds to infinity.
            StoredType::F16 => 65_519.996,
            StoredType::Bf16 => f32::from_bits(0x7f7f_7fff),
        }
    }
}

/// The tensors of a model directory: `model.safetensors`, or the shards named by `model.safetensors.index.json`.
///
/// Opening reads the headers alone; [`read`](Self::read) fetches one tensor.
#[derive(Debug)]
pub struct TensorFiles {
    /// The file that lists the tensors: the single file or the index.
    listing: PathBuf,
    shards: Vec<Shard>,
    places: BTreeMap<String, Place>,
}

/// One safetensors file with its parsed header.
#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: File,
    values_start: u64,
}

#[derive(Debug)]
struct Place {
    shard: usize,
    tensor: TensorInfo,
}

impl TensorFiles {
    /// Opens `model.safetensors` in `directory`, or the shards that `model.safetensors.index.json` names.
    ///
    /// # Errors
    /// [`ModelError`] naming the file that is missing, unreadable, truncated or malformed.
    pub fn open(directory: &Path) -> Result<Self, ModelError> {
        let single = directory.join(SINGLE_FILE);
        let index = directory.join(INDEX_FILE);
        if single.is_file() {
            return Self::open_file(single);
        }
        if index.is_file() {
            return Self::open_sharded(directory, index);
        }
        let message = format!(
            "has neither {SINGLE_FILE} nor {INDEX_FILE}; download the model's safetensors files into it or import a \
             GGUF file"
        );
        Err(ModelError::File { path: directory.to_owned(), message })
    }

    /// Opens the one file `path`.
    ///
    /// # Errors
    /// [`ModelError`] naming it when it is unreadable, truncated or malformed.
    pub fn open_file(path: PathBuf) -> Result<Self, ModelError> {
        let (shard, tensors) = open_shard(path.clone())?;
        let places = tensors.into_iter().map(|(name, tensor)| (name, Place { shard: 0, tensor })).collect();
        Ok(Self { listing: path, shards: vec![shard], places })
    }

    fn open_sharded(directory: &Path, index: PathBuf) -> Result<Self, ModelError> {
        let mut listed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, shard_name) in read_index(&index)? {
            listed.entry(shard_name).or_default().push(name);
        }
        let mut files = Self { listing: index, shards: Vec::new(), places: BTreeMap::new() };
        for (shard_name, names) in listed {
            let (shard, mut tensors) = open_shard(directory.join(shard_name))?;
            for name in names {
                let tensor = tensors.remove(&name).ok_or_else(|| ModelError::File {
                    path: shard.path.clone(),
                    message: format!("has no tensor `{name}`, which {INDEX_FILE} places in it; download it again"),
                })?;
                files.places.insert(name, Place { shard: files.shards.len(), tensor });
            }
            files.shards.push(shard);
        }
        Ok(files)
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// The shape of the tensor `name`, outermost dimension first; `None` when there is no such tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.places.get(name).map(|place| place.tensor.shape.as_slice())
    }

    /// How the numbers of the tensor `name` are stored.
    ///
    /// # Errors
    /// [`ModelError::File`] when the tensor is missing or of a type other than F32, F16 and BF16.
    pub fn stored_type(&self, name: &str) -> Result<StoredType, ModelError> {
        let place = self.place(name)?;
        StoredType::from_dtype(place.tensor.dtype).ok_or_else(|| ModelError::File {
            path: self.shards[place.shard].path.clone(),
            message: format!("tensor `{name}` is stored as {}; convert it to F32, F16 or BF16", place.tensor.dtype),
        })
    }

    /// Reads the tensor `name`, row-major, as `f32`.
    ///
    /// Shapes: the result has the product of `shape` values.
    ///
    /// # Errors
    /// [`ModelError`] naming the file and the tensor when it is missing, of another shape or of a type that is not
    /// read.
    pub fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let stored = self.stored_type(name)?;
        let place = self.place(name)?;
        let shard = &self.shards[place.shard];
        if place.tensor.shape != shape {
            let found = &place.tensor.shape;
            let message = format!(
                "tensor `{name}` has shape {found:?} where config.json asks for {shape:?}; use the config.json that \
                 belongs to these weights"
            );
            return Err(ModelError::File { path: shard.path.clone(), message });
        }
        let (start, end) = place.tensor.data_offsets;
        let mut values = Vec::with_capacity((end - start) / stored.bytes());
        let mut piece = vec![0; (end - start).min(PIECE_VALUES * stored.bytes())];
        let mut offset = start;
        while offset < end {
            let piece_bytes = piece.len().min(end - offset);
            let piece = &mut piece[..piece_bytes];
            shard
                .file
                .read_exact_at(piece, shard.values_start + offset as u64)
                .map_err(|source| read_failed(&shard.path, source))?;
            stored.decode(piece, &mut values);
            offset += piece_bytes;
        }
        Ok(values)
    }

    fn place(&self, name: &str) -> Result<&Place, ModelError> {
        self.places.get(name).ok_or_else(|| ModelError::File {
            path: self.listing.clone(),
            message: format!("has no tensor `{name}`; the weights and config.json must belong to the same model"),
        })
    }
}

/// A tensor to be written.
#[derive(Debug, Clone)]
pub struct TensorView<'a> {
    /// Its name in the file.
    pub name: &'a str,
    /// Its shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub values: &'a [f32],
}

impl<'a> TensorView<'a> {
    /// The values of a parameter under its name.
    pub fn of(parameter: &'a Parameter) -> Self {
        Self { name: &parameter.name, shape: parameter.shape.clone(), values: &parameter.values }
    }
}

/// Writes `tensors` in their order to the safetensors file `path`, each number rounded to `stored` (nearest, ties to
/// even).
///
/// The same tensors give the same bytes. The values are converted piece by piece, never copied as a whole.
///
/// # Errors
/// [`ModelError`] when the file cannot be written, a name occurs twice, or a finite value is too large for `stored`.
///
/// # Panics
/// When a tensor's shape does not multiply to its number of values.
pub fn write_tensors(path: &Path, tensors: &[TensorView], stored: StoredType) -> Result<(), ModelError> {
    let layout: Vec<_> = tensors.iter().map(|tensor| (tensor.name.to_owned(), tensor.shape.clone())).collect();
    write_tensors_streamed(path, &layout, stored, |index| Ok(Cow::Borrowed(tensors[index].values)))
}

/// As [`write_tensors`], with the values of the tensor `layout[index]` (name and shape) asked for when they are due, so
/// that a model larger than memory can be written.
///
/// # Errors
/// As [`write_tensors`], and what `values_of` returns.
///
/// # Panics
/// When `values_of` returns another number of values than the shape asks for.
pub(crate) fn write_tensors_streamed<'a>(
    path: &Path,
    layout: &[(String, Vec<usize>)],
    stored: StoredType,
    mut values_of: impl FnMut(usize) -> Result<Cow<'a, [f32]>, ModelError>,
) -> Result<(), ModelError> {
    let header = header_bytes(path, layout, stored)?;
    replace_file(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes()).map_err(|source| write_failed(path, source))?;
        file.write_all(&header).map_err(|source| write_failed(path, source))?;
        let mut bytes = Vec::with_capacity(PIECE_VALUES * stored.bytes());
        for (index, (name, shape)) in layout.iter().enumerate() {
            let values = values_of(index)?;
            assert_eq!(values.len(), shape.iter().product::<usize>(), "values of `{name}` with shape {shape:?}");
            for piece in values.chunks(PIECE_VALUES) {
                refuse_overflow(path, name, piece, stored)?;
                bytes.clear();
                stored.encode(piece, &mut bytes);
                file.write_all(&bytes).map_err(|source| write_failed(path, source))?;
            }
        }
        Ok(())
    })
}

fn refuse_overflow(path: &Path, name: &str, values: &[f32], stored: StoredType) -> Result<(), ModelError> {
    match stored.overflow(name, values) {
        None => Ok(()),
        Some(message) => Err(ModelError::File { path: path.to_owned(), message }),
    }
}

fn header_bytes(path: &Path, layout: &[(String, Vec<usize>)], stored: StoredType) -> Result<Vec<u8>, ModelError> {
    let unusable = |message: String| ModelError::File { path: path.to_owned(), message };
    let mut names = BTreeSet::new();
    let mut tensors = Vec::with_capacity(layout.len());
    let mut start = 0;
    for (name, shape) in layout {
        if !names.insert(name) {
            return Err(unusable(format!("tensor `{name}` is to be written twice; names must differ")));
        }
        let end = start + shape.iter().product::<usize>() * stored.bytes();
        let tensor = TensorInfo { dtype: stored.dtype(), shape: shape.clone(), data_offsets: (start, end) };
        tensors.push((name.clone(), tensor));
        start = end;
    }
    // One entry, so the map's iteration order cannot reach the bytes.
    let format = [("format".to_owned(), "pt".to_owned())].into_iter().collect();
    let header = Metadata::new(Some(format), tensors).map_err(|error| unusable(error.to_string()))?;
    let mut bytes = serde_json::to_vec(&header).map_err(|error| unusable(error.to_string()))?;
    bytes.resize(bytes.len().next_multiple_of(8), b' ');
    Ok(bytes)
}

fn read_failed(path: &Path, source: std::io::Error) -> ModelError {
    ModelError::Io { action: "read", path: path.to_owned(), source }
}

/// Opens one file and reads its header; offsets, sizes and the file's length are checked against each other.
fn open_shard(path: PathBuf) -> Result<(Shard, BTreeMap<String, TensorInfo>), ModelError> {
    let failed = |source| read_failed(&path, source);
    let malformed = |message: String| ModelError::File {
        path: path.clone(),
        message: format!("not a whole safetensors file: {message}; download or write it again"),
    };
    let (file, file_bytes) = files::open(&path)?;
    if file_bytes < 8 {
        return Err(malformed(format!("it has {file_bytes} bytes")));
    }
    let mut length = [0; 8];
    file.read_exact_at(&mut length, 0).map_err(failed)?;
    let header_bytes = u64::from_le_bytes(length);
    if header_bytes > HEADER_BYTES_MAX.min(file_bytes - 8) {
        return Err(malformed(format!("its header claims {header_bytes} bytes of {file_bytes}")));
    }
    let mut header = vec![0; header_bytes as usize];
    file.read_exact_at(&mut header, 8).map_err(failed)?;
    let header: Metadata = serde_json::from_slice(&header).map_err(|error| malformed(error.to_string()))?;
    let claimed = (8 + header_bytes).saturating_add(header.data_len() as u64);
    if claimed != file_bytes {
        return Err(malformed(format!("its header describes {claimed} bytes, it has {file_bytes}")));
    }
    let tensors = header.tensors().into_iter().map(|(name, tensor)| (name, tensor.clone())).collect();
    Ok((Shard { values_start: 8 + header_bytes, path, file }, tensors))
}

/// Names of the files, which lie beside it, that the index of a sharded model places tensors in.
///
/// # Errors
/// [`ModelError`] when `index` cannot be read, is no index, or names what does not lie beside it.
pub fn shard_names(index: &Path) -> Result<BTreeSet<String>, ModelError> {
    Ok(read_index(index)?.into_values().collect())
}

/// Reads the index of a sharded model: tensor name → file name.
fn read_index(path: &Path) -> Result<BTreeMap<String, String>, ModelError> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let unusable = |message: String| ModelError::File { path: path.to_owned(), message };
    let text = files::read(path)?;
    let index: Index = serde_json::from_slice(&text)
        .map_err(|error| unusable(format!("not an index of safetensors files: {error}; download it again")))?;
    for (name, shard) in &index.weight_map {
        if Path::new(shard).file_name().is_none_or(|file_name| file_name != shard.as_str()) {
            let message = format!(
                "`weight_map` places tensor `{name}` in `{shard}`; it must be the name of a file beside the index"
            );
            return Err(unusable(message));
        }
    }
    Ok(index.weight_map)
}

#[cfg(test)]
#[path = "safetensors_tests.rs"]
mod tests;
