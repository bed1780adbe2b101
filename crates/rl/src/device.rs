//! `device`: where the model of a run computes, and what of the machine a run may take.

use std::{fmt, str::FromStr, sync::Arc};

use model::{AdapterSettings, Compute, Model, ModelConfig, card, cuda::machine::Machine};
use serde::{Deserialize, Serialize};

use crate::{RlError, estimate::Memory};

/// Where a model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceSetting {
    /// The processor, as long as no card has run what is meant for it.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The card of this number in the driver's order.
    Cuda(usize),
}

impl DeviceSetting {
    /// The card that is asked for.
    pub fn card(self) -> Option<usize> {
        match self {
            Self::Auto | Self::Cpu => None,
            Self::Cuda(index) => Some(index),
        }
    }
}

impl fmt::Display for DeviceSetting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Cpu => formatter.write_str("cpu"),
            Self::Cuda(index) => write!(formatter, "cuda:{index}"),
        }
    }
}

impl FromStr for DeviceSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let card = || text.strip_prefix("cuda:").and_then(|index| index.parse().ok()).map(Self::Cuda);
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => card().ok_or_else(|| format!("`{text}` is no device: expected `auto`, `cpu` or `cuda:N`")),
        }
    }
}

impl TryFrom<String> for DeviceSetting {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<DeviceSetting> for String {
    fn from(setting: DeviceSetting) -> Self {
        setting.to_string()
    }
}

/// What matrix products compute with. Parameters, optimizer, sums and all else are f32 in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComputeType {
    /// f32 factors.
    F32,
    /// Factors rounded to bf16: twice as fast on a CPU with AVX-512 bf16, slower than f32 on any other.
    Bf16,
}

impl ComputeType {
    /// The kernels' own; without a choice the fastest that the CPU has.
    pub fn resolve(choice: Option<Self>) -> Compute {
        match choice {
            Some(Self::F32) => Compute::F32,
            Some(Self::Bf16) => Compute::Bf16,
            None => Compute::fastest(),
        }
    }
}

impl ComputeType {
    /// As configs have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

impl From<Compute> for ComputeType {
    fn from(compute: Compute) -> Self {
        match compute {
            Compute::F32 => Self::F32,
            Compute::Bf16 => Self::Bf16,
        }
    }
}

/// What products compute with at `device`: bf16 on a card unless something else is asked for, which is refused then.
pub fn compute(device: DeviceSetting, asked: Option<ComputeType>) -> Compute {
    ComputeType::resolve(asked.or_else(|| device.card().map(|_| ComputeType::Bf16)))
}

/// `model` where `other` is.
pub(crate) fn beside(model: Model, other: &Model) -> Result<Model, RlError> {
    model.beside(other).map_err(|fault| RlError::Setting { field: "device", message: format!("names a card: {fault}") })
}

/// What of the machine a run may take.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    /// Bytes of memory that are free, where known.
    pub memory_bytes_available: Option<u64>,
    /// The card that the config's `device` names, where it names one.
    pub card: Option<Arc<dyn Machine>>,
}

impl From<Option<u64>> for Resources {
    /// The processor alone.
    fn from(memory_bytes_available: Option<u64>) -> Self {
        Self { memory_bytes_available, card: None }
    }
}

/// Where a run computes.
#[derive(Debug, Clone)]
pub enum Place {
    /// The processor.
    Processor {
        /// What products compute with.
        compute: Compute,
        /// Bytes of memory that are free, where known.
        free_bytes: Option<u64>,
    },
    /// A card.
    Card {
        /// Which one.
        machine: Arc<dyn Machine>,
        /// Bytes of its memory that are free.
        free_bytes: u64,
    },
}

impl Place {
    /// The place that `device` names, among `resources`; products compute with `compute`.
    ///
    /// # Errors
    /// When it is a card that is not there, does not tell its memory, or does not compute so.
    pub fn new(device: DeviceSetting, compute: Compute, resources: &Resources) -> Result<Self, RlError> {
        let refused = |message: String| Err(RlError::Setting { field: "device", message });
        if device.card().is_none() {
            return Ok(Self::Processor { compute, free_bytes: resources.memory_bytes_available });
        }
        let Some(machine) = &resources.card else {
            return refused(format!("is {device}, and this program was given no card; set cpu"));
        };
        if compute == Compute::F32 {
            return refused(format!("is {device}, where products compute with bf16; leave out `compute`, or set cpu"));
        }
        match machine.free_bytes() {
            Ok(bytes) => Ok(Self::Card { machine: Arc::clone(machine), free_bytes: bytes as u64 }),
            Err(fault) => refused(format!("is {device}, which is not usable: {fault}; {}", fault.remedy())),
        }
    }

    /// What memory is planned for.
    pub fn memory(&self) -> Memory {
        match self {
            Self::Processor { compute, .. } => Memory::Processor(*compute),
            Self::Card { .. } => Memory::Card,
        }
    }

    /// Bytes that are free, where known.
    pub fn free_bytes(&self) -> Option<u64> {
        match self {
            Self::Processor { free_bytes, .. } => *free_bytes,
            Self::Card { free_bytes, .. } => Some(*free_bytes),
        }
    }

    /// Refuses a model that can't be trained here, before its weights are read.
    pub(crate) fn refuse(&self, config: &ModelConfig, adapter: Option<&AdapterSettings>) -> Result<(), RlError> {
        let Self::Card { machine, .. } = self else { return Ok(()) };
        let refused = |message| Err(RlError::Setting { field: "device", message });
        let fault = match card::fault_of(config, adapter) {
            None => card::training_fault_of(config, machine.as_ref()),
            fault => Ok(fault),
        };
        match fault {
            Ok(None) => Ok(()),
            Ok(Some(fault)) => refused(format!("names a card, and {fault}; set cpu")),
            Err(fault) => refused(format!("names a card that is not usable: {fault}; {}", fault.remedy())),
        }
    }

    /// `model` here, with caches of up to `cache_bytes`.
    ///
    /// # Errors
    /// When it is a card that can't compute this model.
    pub fn put(&self, model: Model, cache_bytes: usize) -> Result<Model, RlError> {
        match self {
            Self::Processor { .. } => Ok(model),
            Self::Card { machine, .. } => model.on_card(machine, cache_bytes).map_err(|fault| RlError::Setting {
                field: "device",
                message: format!("names a card: {fault}; set cpu"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for (text, device) in [
            ("auto", DeviceSetting::Auto),
            ("cpu", DeviceSetting::Cpu),
            ("cuda:0", DeviceSetting::Cuda(0)),
            ("cuda:12", DeviceSetting::Cuda(12)),
        ] {
            assert_eq!(text.parse(), Ok(device));
            assert_eq!(device.to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(DeviceSetting::Cuda(0)));
        for wrong in ["", "gpu", "cuda:", "cuda:-1", "cuda:1 "] {
            assert!(wrong.parse::<DeviceSetting>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn products_on_a_card_are_bf16_unless_f32_is_asked_for() {
        assert_eq!(compute(DeviceSetting::Cuda(0), None), Compute::Bf16);
        assert_eq!(compute(DeviceSetting::Cuda(0), Some(ComputeType::F32)), Compute::F32);
        assert_eq!(compute(DeviceSetting::Cpu, None), Compute::fastest());
    }

    #[test]
    fn a_card_that_nobody_gave_is_refused_and_the_processor_needs_none() {
        let place = |device| Place::new(device, Compute::Bf16, &Resources::from(Some(7)));
        let refused = place(DeviceSetting::Cuda(1)).map(drop).map_err(|error| error.to_string());
        assert_eq!(refused, Err("`device` is cuda:1, and this program was given no card; set cpu".to_owned()));
        for device in [DeviceSetting::Auto, DeviceSetting::Cpu] {
            assert_eq!(place(device).map(|place| place.free_bytes()).ok(), Some(Some(7)), "{device}");
        }
    }
}
