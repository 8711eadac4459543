// swift-tools-version: 6.1
import PackageDescription

let package = Package(
    name: "sluice-benchmarks",
    dependencies: [
        .package(name: "sluice", path: ".."),
        // Without its traits: the interposers that they bring count nothing useful here.
        .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.0", traits: []),
    ],
    targets: [
        .executableTarget(
            name: "VolumeBenchmarks",
            dependencies: [
                .product(name: "QCOW2", package: "sluice"),
                .product(name: "BlockStorage", package: "sluice"),
                .product(name: "IORuntime", package: "sluice"),
                .product(name: "Benchmark", package: "benchmark"),
            ],
            path: "VolumeBenchmarks",
            swiftSettings: [
                .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
                .enableUpcomingFeature("ExistentialAny"),
            ],
            plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
        // Not of that kind: it shows that promises hold, see Fixtures/bench-qos.
        .executableTarget(
            name: "ThrottleBenchmarks",
            dependencies: [
                .product(name: "VolumeQoS", package: "sluice"),
                .product(name: "BlockStorage", package: "sluice"),
                .product(name: "IORuntime", package: "sluice"),
            ],
            path: "ThrottleBenchmarks",
            swiftSettings: [
                .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
                .enableUpcomingFeature("ExistentialAny"),
            ]),
        // What Fixtures/bench-iscsi runs.
        .executableTarget(
            name: "ISCSIBenchmark",
            dependencies: [
                .product(name: "ISCSIPool", package: "sluice"),
                .product(name: "BlockStorage", package: "sluice"),
                .product(name: "IORuntime", package: "sluice"),
            ],
            path: "ISCSIBenchmark",
            swiftSettings: [
                .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
                .enableUpcomingFeature("ExistentialAny"),
            ]),
    ],
    swiftLanguageModes: [.v6]
)
