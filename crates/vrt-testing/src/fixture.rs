//! Reads golden tensors: the copy in `fixtures/`, or the full set beside the repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;

/// The golden whole networks, in `models/`; the small ones first.
pub const NETWORKS: [&str; 8] = [
    "deblur",
    "deblur_spike",
    "denoise",
    "interpolate",
    "sr_x2_spike",
    "sr_x4_pa2",
    "sr_x4_pa4",
    "sr_x4_pa6",
];

/// A tensor of a fixture, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Values in row-major order.
    pub values: Vec<f32>,
}

/// The tensors and the metadata of one golden file.
#[derive(Clone, Debug)]
pub struct Fixture {
    name: String,
    tensors: BTreeMap<String, Golden>,
    metadata: BTreeMap<String, serde_json::Value>,
}

/// The folder that holds `Cargo.toml` of the workspace.
pub fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder of data that is not part of the repository: `VRT_SHARED`, or `../shared` beside it.
/// `None` where there is none; a test that needs it then says that it is skipped.
pub fn shared_root() -> Option<PathBuf> {
    let root = std::env::var_os("VRT_SHARED")
        .map_or_else(|| workspace_root().join("../shared"), PathBuf::from);
    root.is_dir().then_some(root)
}

/// Where `name` (for example `models/deblur.safetensors`) is: in `fixtures/`, else among the
/// shared data.
pub fn fixture_root(name: &str) -> Option<PathBuf> {
    let own = workspace_root().join("fixtures").join(name);
    if own.exists() {
        return Some(own);
    }
    let shared = shared_root()?.join("fixtures").join(name);
    shared.exists().then_some(shared)
}

/// The tensors of any `.safetensors` file of `f32` values.
///
/// # Panics
///
/// Panics if the file cannot be read.
pub fn read_tensors(path: &Path) -> BTreeMap<String, Golden> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    parse(path, &bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> BTreeMap<String, Golden> {
    let file = SafeTensors::deserialize(bytes)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let tensors = file.iter().map(|(name, view)| {
        let (values, _) = view.data().as_chunks::<4>();
        let values = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        (name.to_string(), Golden { shape: view.shape().to_vec(), values })
    });
    tensors.collect()
}

impl Fixture {
    /// Reads `name`, for example `modules/rtmsa`.
    ///
    /// # Panics
    ///
    /// Panics if the file is not there or not a fixture.
    pub fn load(name: &str) -> Self {
        Self::try_load(name).unwrap_or_else(|| panic!("there is no fixture {name}"))
    }

    /// Reads `name`, or says on standard error that it is skipped because it is not there.
    ///
    /// # Panics
    ///
    /// Panics if the file is there but not a fixture.
    pub fn try_load(name: &str) -> Option<Self> {
        let Some(path) = fixture_root(&format!("{name}.safetensors")) else {
            eprintln!("SKIPPED: fixture {name} is not on this machine");
            return None;
        };
        let bytes = std::fs::read(&path)
            .unwrap_or_else(|error| panic!("fixture {}: {error}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes)
            .unwrap_or_else(|error| panic!("fixture {}: {error}", path.display()));
        let metadata = header.metadata().iter().flatten();
        let metadata = metadata
            .map(|(key, text)| {
                let value = serde_json::from_str(text)
                    .unwrap_or_else(|_| serde_json::Value::String(text.clone()));
                (key.clone(), value)
            })
            .collect();
        let tensors = parse(&path, &bytes);
        Some(Self { name: name.to_string(), tensors, metadata })
    }

    /// The tensor called `key`, for example `in.x`.
    ///
    /// # Panics
    ///
    /// Panics if there is none.
    pub fn tensor(&self, key: &str) -> &Golden {
        self.find(key).unwrap_or_else(|| panic!("fixture {} has no {key}", self.name))
    }

    /// The tensor called `key`, where there is one.
    pub fn find(&self, key: &str) -> Option<&Golden> {
        self.tensors.get(key)
    }

    /// The tensors whose key starts with `prefix`, under the rest of their key, in order of name.
    pub fn under(&self, prefix: &str) -> impl Iterator<Item = (&str, &Golden)> {
        self.tensors
            .iter()
            .filter_map(move |(key, tensor)| Some((key.strip_prefix(prefix)?, tensor)))
    }

    /// A value of the metadata.
    ///
    /// # Panics
    ///
    /// Panics if there is none.
    pub fn metadata(&self, key: &str) -> &serde_json::Value {
        self.metadata
            .get(key)
            .unwrap_or_else(|| panic!("fixture {} has no metadata {key}", self.name))
    }

    /// A number of the metadata.
    ///
    /// # Panics
    ///
    /// Panics if there is none.
    pub fn number(&self, key: &str) -> usize {
        let value = self.metadata(key).as_u64();
        let value = value.unwrap_or_else(|| panic!("fixture {}: {key} is no number", self.name));
        usize::try_from(value).expect("a number of a fixture fits a usize")
    }
}
