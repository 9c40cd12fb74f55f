//! Values in JSON as the texts that flags have.

/// Serializes a type with `Display` and `FromStr` as its text.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_text;

/// Gives the values of an enum their names: the same in flags, columns, file names and JSON.
macro_rules! named {
    ($type:ty: $($value:ident = $name:literal),+) => {
        impl $type {
            pub const ALL: &[Self] = &[$(Self::$value),+];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $name),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($name => Ok(Self::$value),)+
                    _ => Err(format!("unknown value {text:?}; use {}", [$($name),+].join(" or "))),
                }
            }
        }

        $crate::as_text::serde_as_text!($type);
    };
}
pub(crate) use named;
