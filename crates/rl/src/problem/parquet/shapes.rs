//! The structs of a Parquet file that the `parquet` crate reads, field by field as [parquet.thrift][parquet] has them.
//!
//! The crate takes a field that it knows by its number alone, whatever type it is said to have; only where both agree does
//! a check of the types see what the crate sees.
//!
//! [parquet]: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift

use super::compact::Shape::{self, Binary, Bool, Byte, Double, I16, I32, I64, List, Struct};

/// Fields of a struct, or of a union, by number.
pub(super) type Fields = &'static [(i64, Shape)];

const EMPTY: Shape = Struct(&[]);

const STATISTICS: Shape =
    Struct(&[(1, Binary), (2, Binary), (3, I64), (4, I64), (5, Binary), (6, Binary), (7, Bool), (8, Bool), (9, I64)]);

/// `PageHeader`.
pub(super) const PAGE_HEADER: Fields = &[
    (1, I32),
    (2, I32),
    (3, I32),
    (4, I32),
    // DataPageHeader.
    (5, Struct(&[(1, I32), (2, I32), (3, I32), (4, I32), (5, STATISTICS)])),
    (6, EMPTY),
    // DictionaryPageHeader.
    (7, Struct(&[(1, I32), (2, I32), (3, Bool)])),
    // DataPageHeaderV2.
    (8, Struct(&[(1, I32), (2, I32), (3, I32), (4, I32), (5, I32), (6, I32), (7, Bool), (8, STATISTICS)])),
];

/// `FileMetaData`.
pub(super) const FOOTER: Fields = &[
    (1, I32),
    (2, List(&SCHEMA_ELEMENT)),
    (3, I64),
    (4, List(&ROW_GROUP)),
    (5, List(&KEY_VALUE)),
    (6, Binary),
    // ColumnOrder.
    (7, List(&Struct(&[(1, EMPTY), (2, EMPTY)]))),
    (8, ENCRYPTION),
    (9, Binary),
];

const KEY_VALUE: Shape = Struct(&[(1, Binary), (2, Binary)]);

const ENCRYPTION: Shape = Struct(&[(1, CIPHER), (2, CIPHER)]);
const CIPHER: Shape = Struct(&[(1, Binary), (2, Binary), (3, Bool)]);

const SCHEMA_ELEMENT: Shape = Struct(SCHEMA_FIELDS);

/// `SchemaElement`.
pub(super) const SCHEMA_FIELDS: Fields =
    &[(1, I32), (2, I32), (3, I32), (4, Binary), (5, I32), (6, I32), (7, I32), (8, I32), (9, I32), (10, LOGICAL_TYPE)];

const LOGICAL_TYPE: Shape = Struct(&[
    (1, EMPTY),
    (2, EMPTY),
    (3, EMPTY),
    (4, EMPTY),
    // DecimalType.
    (5, Struct(&[(1, I32), (2, I32)])),
    (6, EMPTY),
    (7, TIME),
    (8, TIME),
    // IntType.
    (10, Struct(&[(1, Byte), (2, Bool)])),
    (11, EMPTY),
    (12, EMPTY),
    (13, EMPTY),
    (14, EMPTY),
    (15, EMPTY),
    // VariantType, GeometryType, GeographyType.
    (16, Struct(&[(1, Byte)])),
    (17, Struct(&[(1, Binary)])),
    (18, Struct(&[(1, Binary), (2, I32)])),
]);
/// `TimeType` and `TimestampType`, with their unit.
const TIME: Shape = Struct(&[(1, Bool), (2, Struct(&[(1, EMPTY), (2, EMPTY), (3, EMPTY)]))]);

const ROW_GROUP: Shape = Struct(&[
    (1, List(&COLUMN_CHUNK)),
    (2, I64),
    (3, I64),
    // SortingColumn.
    (4, List(&Struct(&[(1, I32), (2, Bool), (3, Bool)]))),
    (5, I64),
    (6, I64),
    (7, I16),
]);

const COLUMN_CHUNK: Shape = Struct(&[
    (1, Binary),
    (2, I64),
    (3, COLUMN),
    (4, I64),
    (5, I32),
    (6, I64),
    (7, I32),
    // ColumnCryptoMetaData.
    (8, Struct(&[(1, EMPTY), (2, Struct(&[(1, List(&Binary)), (2, Binary)]))])),
    (9, Binary),
]);

/// `ColumnMetaData`.
const COLUMN: Shape = Struct(&[
    (1, I32),
    (2, List(&I32)),
    (3, List(&Binary)),
    (4, I32),
    (5, I64),
    (6, I64),
    (7, I64),
    (8, List(&KEY_VALUE)),
    (9, I64),
    (10, I64),
    (11, I64),
    (12, STATISTICS),
    // PageEncodingStats.
    (13, List(&Struct(&[(1, I32), (2, I32), (3, I32)]))),
    (14, I64),
    (15, I32),
    // SizeStatistics.
    (16, Struct(&[(1, I64), (2, List(&I64)), (3, List(&I64))])),
    // GeospatialStatistics, with its box.
    (17, Struct(&[(1, BOX), (2, List(&I32))])),
]);
const BOX: Shape =
    Struct(&[(1, Double), (2, Double), (3, Double), (4, Double), (5, Double), (6, Double), (7, Double), (8, Double)]);
