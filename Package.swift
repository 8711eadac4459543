// swift-tools-version: 6.2
import PackageDescription

let languageSettings: [SwiftSetting] = [
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableExperimentalFeature("Lifetimes"),
]

/// Every unsafe use in the product is marked, with the reason it is sound.
let swiftSettings = languageSettings + [.strictMemorySafety()]

/// A module under Sources/.
func module(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: swiftSettings)
}

/// The module map of a system C library under Sources/CLibraries.
func system(_ name: String, pkgConfig: String, debian: String) -> Target {
    .systemLibrary(
        name: name, path: "Sources/CLibraries/\(name)", pkgConfig: pkgConfig, providers: [.apt([debian])])
}

/// Tests that compute little are not optimised where what they test is: that takes longer than it saves.
func tests(_ name: String, compute: Bool = false, _ dependencies: [Target.Dependency]) -> Target {
    let unoptimized = [SwiftSetting.unsafeFlags(["-Onone"], .when(configuration: .release))]
    return .testTarget(
        name: name, dependencies: dependencies, swiftSettings: languageSettings + (compute ? [] : unoptimized))
}

let systemPackage = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let metrics = Target.Dependency.product(name: "Metrics", package: "swift-metrics")

let package = Package(
    name: "sluice",
    products: [
        .library(name: "Sluice", targets: ["Sluice"]),
        .library(name: "IORuntime", targets: ["IORuntime"]),
        .library(name: "BlockStorage", targets: ["BlockStorage"]),
        .library(name: "QCOW2", targets: ["QCOW2"]),
        .library(name: "RBDPool", targets: ["RBDPool"]),
        .library(name: "ISCSIPool", targets: ["ISCSIPool"]),
        .library(name: "TGTControl", targets: ["TGTControl"]),
        .library(name: "ElementAPI", targets: ["ElementAPI"]),
        .library(name: "Templates", targets: ["Templates"]),
        .library(name: "VolumeQoS", targets: ["VolumeQoS"]),
        .library(name: "QoSSimulator", targets: ["QoSSimulator"]),
        .library(name: "NBDExport", targets: ["NBDExport"]),
        .library(name: "StorageConformance", targets: ["StorageConformance"]),
        .library(name: "ElementSimulator", targets: ["ElementSimulator"]),
        .executable(name: "sluice", targets: ["SluiceCLI"]),
        .executable(name: "element-simulator", targets: ["ElementSimulatorCLI"]),
    ],
    traits: [
        .trait(name: "Archives", description: "Unpack compressed templates, through libarchive."),
        .trait(name: "Downloads", description: "Import from web servers and metalinks, through async-http-client."),
        .trait(name: "LegacyQCOW", description: "Import version 1 QCOW images, through libqcow."),
        .trait(
            name: "ISCSI",
            description: "Volumes on iSCSI targets, by an initiator of their own, and on Element arrays."),
        .trait(name: "RBD", description: "Pools in Ceph clusters, through librbd."),
        .default(enabledTraits: ["Archives", "Downloads", "ISCSI", "LegacyQCOW", "RBD"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-system", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.0.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        // For `make docs`; nothing is built with it.
        .package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.5.0"),
    ],
    targets: [
        system("CURing", pkgConfig: "liburing", debian: "liburing-dev"),
        system("CZlib", pkgConfig: "zlib", debian: "zlib1g-dev"),
        system("CZstd", pkgConfig: "libzstd", debian: "libzstd-dev"),
        system("CCrypto", pkgConfig: "libcrypto", debian: "libssl-dev"),
        system("CArchive", pkgConfig: "libarchive", debian: "libarchive-dev"),
        system("CXML", pkgConfig: "libxml-2.0", debian: "libxml2-dev"),
        system("CQCow", pkgConfig: "libqcow", debian: "libqcow-dev"),
        .systemLibrary(
            name: "CRBD", path: "Sources/CLibraries/CRBD", providers: [.apt(["librbd-dev", "librados-dev"])]),

        module("IORuntime", ["CURing", systemPackage, logging]),
        module("BlockStorage", ["IORuntime", metrics, systemPackage]),
        module("QCOW2", ["BlockStorage", "IORuntime", "CZlib", "CZstd"]),
        module("FilePool", ["QCOW2", "BlockStorage", "IORuntime", systemPackage]),
        module(
            "RBDPool",
            [
                "BlockStorage", "IORuntime", systemPackage, .target(name: "CRBD", condition: .when(traits: ["RBD"])),
            ]),
        module("TGTControl", ["BlockStorage", "IORuntime", systemPackage]),
        module(
            "ISCSIPool",
            [
                "TGTControl", "QCOW2", "BlockStorage", "IORuntime", "CCrypto", systemPackage,
                .target(name: "ElementAPI", condition: .when(traits: ["ISCSI"])),
            ]),
        module(
            "ElementAPI",
            [
                "BlockStorage", "IORuntime", "CCrypto", systemPackage,
                .product(name: "AsyncHTTPClient", package: "async-http-client", condition: .when(traits: ["ISCSI"])),
                .product(name: "NIOCore", package: "swift-nio", condition: .when(traits: ["ISCSI"])),
                .product(name: "NIOFoundationCompat", package: "swift-nio", condition: .when(traits: ["ISCSI"])),
                .product(name: "NIOHTTP1", package: "swift-nio", condition: .when(traits: ["ISCSI"])),
                .product(name: "NIOPosix", package: "swift-nio", condition: .when(traits: ["ISCSI"])),
                .product(name: "NIOSSL", package: "swift-nio-ssl", condition: .when(traits: ["ISCSI"])),
            ]),
        module(
            "Templates",
            [
                "QCOW2", "BlockStorage", "IORuntime", "CCrypto", "CZlib", systemPackage,
                .target(name: "CArchive", condition: .when(traits: ["Archives"])),
                .target(name: "CQCow", condition: .when(traits: ["LegacyQCOW"])),
                .target(name: "CXML", condition: .when(traits: ["Downloads"])),
                .product(
                    name: "AsyncHTTPClient", package: "async-http-client", condition: .when(traits: ["Downloads"])),
                .product(name: "NIOCore", package: "swift-nio", condition: .when(traits: ["Downloads"])),
                .product(name: "NIOHTTP1", package: "swift-nio", condition: .when(traits: ["Downloads"])),
                .product(name: "NIOPosix", package: "swift-nio", condition: .when(traits: ["Downloads"])),
                .product(name: "NIOSSL", package: "swift-nio-ssl", condition: .when(traits: ["Downloads"])),
            ]),
        module("VolumeQoS", ["BlockStorage", "IORuntime", metrics]),
        module("QoSSimulator", ["VolumeQoS", "BlockStorage", .product(name: "Yams", package: "Yams")]),
        module("NBDExport", ["BlockStorage", "IORuntime", systemPackage, logging]),
        module("StorageConformance", ["BlockStorage", "IORuntime"]),
        module(
            "Sluice",
            [
                "FilePool", "Templates", "NBDExport", "VolumeQoS", "BlockStorage", "IORuntime", logging, metrics,
                .target(name: "ElementAPI", condition: .when(traits: ["ISCSI"])),
                .target(name: "ISCSIPool", condition: .when(traits: ["ISCSI"])),
                .target(name: "RBDPool", condition: .when(traits: ["RBD"])),
                .target(name: "TGTControl", condition: .when(traits: ["ISCSI"])),
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
                systemPackage,
            ]),
        module(
            "ElementSimulator",
            [
                "TGTControl", "VolumeQoS", "BlockStorage", "IORuntime", systemPackage, logging,
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HummingbirdTLS", package: "hummingbird"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]),
        .executableTarget(
            name: "ElementSimulatorCLI",
            dependencies: [
                "ElementSimulator", "TGTControl", "BlockStorage", "IORuntime", logging, systemPackage,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            swiftSettings: swiftSettings),
        .executableTarget(
            name: "SluiceCLI",
            dependencies: [
                "Sluice", "Templates", "StorageConformance", "QoSSimulator", "VolumeQoS", "BlockStorage", "IORuntime",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
                logging, metrics, systemPackage,
            ],
            swiftSettings: swiftSettings),

        tests("IORuntimeTests", compute: true, ["IORuntime", systemPackage]),
        tests("BlockStorageTests", compute: true, ["BlockStorage", metrics, systemPackage]),
        tests("QCOW2Tests", compute: true, ["QCOW2", "BlockStorage"]),
        tests("FilePoolTests", ["FilePool", "QCOW2", "BlockStorage", "IORuntime", "StorageConformance"]),
        tests(
            "RBDPoolTests",
            [
                "BlockStorage", "IORuntime", "StorageConformance", systemPackage,
                .target(name: "RBDPool", condition: .when(traits: ["RBD"])),
            ]),
        tests("TGTControlTests", ["TGTControl", "BlockStorage", "IORuntime"]),
        tests(
            "ISCSIPoolTests",
            [
                "TGTControl", "StorageConformance", "BlockStorage", "IORuntime", systemPackage, logging,
                .target(name: "ISCSIPool", condition: .when(traits: ["ISCSI"])),
                .target(name: "ElementAPI", condition: .when(traits: ["ISCSI"])),
                .target(name: "ElementSimulator", condition: .when(traits: ["ISCSI"])),
                .product(
                    name: "ServiceLifecycle", package: "swift-service-lifecycle", condition: .when(traits: ["ISCSI"])),
            ]),
        tests(
            "ElementAPITests",
            [
                "BlockStorage", "IORuntime", systemPackage,
                .target(name: "ElementAPI", condition: .when(traits: ["ISCSI"])),
                .product(name: "NIOCore", package: "swift-nio", condition: .when(traits: ["ISCSI"])),
                .product(name: "NIOHTTP1", package: "swift-nio", condition: .when(traits: ["ISCSI"])),
                .product(name: "NIOPosix", package: "swift-nio", condition: .when(traits: ["ISCSI"])),
                .product(name: "NIOSSL", package: "swift-nio-ssl", condition: .when(traits: ["ISCSI"])),
            ]),
        tests(
            "TemplatesTests",
            [
                "Templates", "FilePool", systemPackage,
                .product(name: "NIOCore", package: "swift-nio", condition: .when(traits: ["Downloads"])),
                .product(name: "NIOHTTP1", package: "swift-nio", condition: .when(traits: ["Downloads"])),
                .product(name: "NIOPosix", package: "swift-nio", condition: .when(traits: ["Downloads"])),
            ]),
        tests("VolumeQoSTests", compute: true, ["VolumeQoS", "BlockStorage", "IORuntime", metrics]),
        tests("QoSSimulatorTests", compute: true, ["QoSSimulator", "VolumeQoS", "BlockStorage"]),
        tests("NBDExportTests", compute: true, ["NBDExport", logging]),
        tests("StorageConformanceTests", ["StorageConformance", "BlockStorage"]),
        tests(
            "SluiceTests",
            [
                "Sluice", "Templates", "StorageConformance", "VolumeQoS", "BlockStorage", "IORuntime", systemPackage,
                logging, metrics,
                .target(name: "ElementAPI", condition: .when(traits: ["ISCSI"])),
                .target(name: "ISCSIPool", condition: .when(traits: ["ISCSI"])),
                .target(name: "TGTControl", condition: .when(traits: ["ISCSI"])),
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ]),
        tests(
            "SluiceCLITests",
            [
                "SluiceCLI", "BlockStorage", "IORuntime",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ]),
        tests("ElementSimulatorTests", ["ElementSimulator", "BlockStorage", "IORuntime", logging, systemPackage]),
        tests("IntegrationTests", ["Sluice", "QCOW2", "BlockStorage", "IORuntime"]),
    ],
    swiftLanguageModes: [.v6]
)
