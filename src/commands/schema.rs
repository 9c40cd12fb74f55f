//! `schema`: the tables' columns for people, DuckDB and Spark, derived from the Arrow schemas that are written.

use std::fmt::Write as _;

use arrow::datatypes::{DataType, Field, Schema};

use super::{Failure, exit, print};
use crate::{
    cli::{SchemaArgs, SchemaFormat},
    dataset::{HISTORY, TARGETS, UNDATED, targets_schema},
    decode,
};

pub(super) fn schema(arguments: &SchemaArgs) -> Result<u8, Failure> {
    let tables =
        [(HISTORY, decode::schema::history()), (UNDATED, decode::schema::undated()), (TARGETS, targets_schema(&[]))];
    let mut text = String::new();
    for (number, (name, schema)) in tables.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        match arguments.format {
            SchemaFormat::Arrow => arrow(&mut text, name, schema),
            SchemaFormat::Duckdb => ddl(&mut text, &format!("CREATE TABLE {name} (\n"), schema, duckdb, true),
            SchemaFormat::Spark => ddl(&mut text, &format!("CREATE TABLE {name} (\n"), schema, spark, false),
            SchemaFormat::Markdown => markdown(&mut text, name, schema),
        }
    }
    print(&text)?;
    Ok(exit::SUCCESS)
}

fn arrow(text: &mut String, name: &str, schema: &Schema) {
    line(text, format_args!("{name}"));
    for field in schema.fields() {
        let nullable = if field.is_nullable() { "" } else { " not null" };
        line(text, format_args!("  {}: {}{nullable}", field.name(), plain(field.data_type())));
    }
}

fn markdown(text: &mut String, name: &str, schema: &Schema) {
    line(text, format_args!("## {name}\n\n| column | type | null |\n| --- | --- | --- |"));
    for field in schema.fields() {
        let nullable = if field.is_nullable() { "yes" } else { "no" };
        line(text, format_args!("| `{}` | {} | {nullable} |", field.name(), plain(field.data_type())));
    }
}

fn ddl(text: &mut String, head: &str, schema: &Schema, name: fn(&DataType) -> String, semicolon: bool) {
    text.push_str(head);
    let last = schema.fields().len() - 1;
    for (number, field) in schema.fields().iter().enumerate() {
        let nullable = if field.is_nullable() { "" } else { " NOT NULL" };
        let comma = if number < last { "," } else { "" };
        line(text, format_args!("  {} {}{nullable}{comma}", field.name(), name(field.data_type())));
    }
    line(text, format_args!("{}", if semicolon { ");" } else { ") USING parquet;" }));
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{words}");
}

/// Names as the contract uses them.
fn plain(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 => "string".to_owned(),
        DataType::Int64 => "int64".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(..) => "timestamp, microseconds, UTC".to_owned(),
        DataType::List(item) => format!("list<{}>", plain(item.data_type())),
        DataType::Map(entries, _) => {
            let (key, value) = key_and_value(entries);
            format!("map<{}, {}>", plain(key), plain(value))
        }
        other => other.to_string(),
    }
}

fn duckdb(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 => "VARCHAR".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Timestamp(..) => "TIMESTAMP WITH TIME ZONE".to_owned(),
        DataType::List(item) => format!("{}[]", duckdb(item.data_type())),
        DataType::Map(entries, _) => {
            let (key, value) = key_and_value(entries);
            format!("MAP({}, {})", duckdb(key), duckdb(value))
        }
        other => other.to_string(),
    }
}

fn spark(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 => "STRING".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Timestamp(..) => "TIMESTAMP".to_owned(),
        DataType::List(item) => format!("ARRAY<{}>", spark(item.data_type())),
        DataType::Map(entries, _) => {
            let (key, value) = key_and_value(entries);
            format!("MAP<{}, {}>", spark(key), spark(value))
        }
        other => other.to_string(),
    }
}

fn key_and_value(entries: &Field) -> (&DataType, &DataType) {
    match entries.data_type() {
        DataType::Struct(fields) if fields.len() == 2 => (fields[0].data_type(), fields[1].data_type()),
        other => (other, other),
    }
}
