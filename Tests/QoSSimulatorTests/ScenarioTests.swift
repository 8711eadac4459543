import BlockStorage
import Foundation
import Testing
import VolumeQoS

@testable import QoSSimulator

@Suite("Scenario files")
struct ScenarioTests {
    private static let minimal = """
        name: x
        duration: 10s
        cluster: {nodes: [{name: n, count: 2, iops: 1k}]}
        policies: {gold: {minimum: 10, maximum: 100, burst: 200, credit: 5s}}
        volumes:
          - {name: v, count: 3, policy: gold, workload: {kind: closed, depth: 4}}
        """

    private func parse(_ text: String) throws -> ScenarioFile { try ScenarioFile(yaml: text, path: "dir/s.yaml") }

    @Test("What a file says is what is simulated")
    func values() throws {
        let file = try parse(
            Self.minimal + """

                seed: 9
                window: 500ms
                scheduler: {kind: fifo, accrual: element, burst-time: 30s, costs: {4k: 100, 64k: 400}}
                events:
                  - {at: 1s, lose: n-2}
                  - {at: 2s, set-policy: {volume: v, policy: {maximum: 50}}}
                  - {at: 3s, expand: {name: more, iops: 5k, read-latency: 1ms..2ms, weight: 3}}
                checks:
                  - {metric: iops, volume: v-2, during: 1s..4s, about: 100, tolerance: 5%}
                """)
        let scenario = try #require(file.runs.first)
        #expect(scenario.seed == 9 && scenario.window == 500_000_000 && scenario.duration == 10_000_000_000)
        #expect(
            scenario.discipline == .fifo && scenario.scheduler.mode == .element && scenario.scheduler.burstSeconds == 30
        )
        #expect(scenario.curve.cost(of: 65_536) == 400)
        #expect(scenario.cluster.nodes[0].count == 2 && scenario.cluster.nodes[0].iops == 1000)
        #expect(scenario.volumes[0].count == 3 && scenario.volumes[0].policy.creditSeconds == 5)
        #expect(scenario.volumes[0].policy.qos == (try QoSPolicy(minIOPS: 10, maxIOPS: 100, burstIOPS: 200)))
        #expect(scenario.events.count == 3)
        guard case .expand(let group) = scenario.events[2].change else {
            Issue.record("no expansion")
            return
        }
        #expect(group.readLatency == 1_000_000...2_000_000 && group.weight == 3)
        #expect(scenario.checks[0].atLeast == 95 && scenario.checks[0].atMost == 105 && scenario.checks[0].line == 15)
    }

    @Test("A run changes what it names, and keeps the rest")
    func overlays() throws {
        let file = try parse(
            Self.minimal + """

                runs:
                  - name: as it is
                  - name: with more
                    policies: {gold: {minimum: 20}}
                    volumes: [{name: v, count: 5}, {name: w, workload: {kind: idle}}]
                    cluster: {copies: 2}
                    events: [{at: 1s, lose: n-1}]
                """)
        #expect(file.runs.map(\.name) == ["as it is", "with more"])
        let (before, after) = (file.runs[0], file.runs[1])
        #expect(before.volumes.count == 1 && before.volumes[0].count == 3 && before.events.isEmpty)
        #expect(after.volumes.map(\.count) == [5, 1] && after.volumes[0].policy.qos.minIOPS == 20)
        #expect(after.volumes[0].policy.qos.maxIOPS == nil && after.volumes[0].workloads.count == 1)
        #expect(after.cluster.copies == 2 && after.cluster.nodes[0].iops == 1000 && after.events.count == 1)
    }

    @Test("Phases follow each other, and may begin again")
    func phases() throws {
        let workload =
            "{kind: phases, repeat: true, phases: [{for: 1s, kind: idle}, {for: 2s, kind: steady, rate: 100}]}"
        let file = try parse(Self.minimal.replacingOccurrences(of: "{kind: closed, depth: 4}", with: workload))
        let stream = try #require(file.runs[0].volumes[0].workloads.first)
        #expect(stream.start == 1_000_000_000 && stream.activity == .init(active: 2_000_000_000, cycle: 3_000_000_000))
    }

    @Test(
        "What is wrong is said with the file, the line and the key",
        arguments: [
            ("name: x", "s.yaml:1, the key 'duration' is missing"),
            ("name: x\nduration: 5", "s.yaml:2, duration: '5' is not a time"),
            ("name: x\nduration: 0s", "s.yaml:2, duration: a time of more than nothing"),
            ("name: x\ndurations: 5s", "s.yaml:2, durations: there is no such key here; did you mean 'duration'?"),
            ("nam: x", "s.yaml:1, nam: there is no such key here; did you mean 'name'?"),
            ("- a\n- b", "s.yaml:1, keys and values are wanted"), ("", "s.yaml:1, the file is empty"),
            ("a: [", "this is not YAML"), ("a: 1\na: 2", "given twice"), ("\t- a", "this is not YAML"),
            (
                "name: x\nduration: 1s\ncluster: {nodes: []}\nvolumes: []",
                "s.yaml:3, cluster.nodes: a cluster has 1 to 1000"
            ),
            (
                "name: x\nduration: 1s\ncluster: {nodes: [{name: n}]}",
                "s.yaml:3, cluster.nodes[0]: the key 'iops' is missing"
            ),
            (
                "name: x\nduration: 1s\ncluster: {nodes: [{name: n, iops: 0}]}",
                "cluster.nodes[0].iops: 0 is not between 1"
            ),
            ("name: x\nduration: 1s\ncluster: {nodes: [{name: n, iops: 1}]}", "the key 'volumes' is missing"),
        ])
    func errors(text: String, expected: String) {
        let found = message { try parse(text) }
        #expect(found.hasPrefix("invalidArgument: read scenario, dir/s.yaml:") && found.contains(expected), "\(found)")
    }

    @Test(
        "So is what is wrong deeper down",
        arguments: [
            (
                "policy: gold", "policy: glod",
                "s.yaml:6, volumes[0].policy: there is no policy 'glod'; did you mean 'gold'?"
            ),
            ("depth: 4", "depth: 0", "volumes[0].workload.depth: 0 is not between 1 and 65536"),
            ("depth: 4", "depth: 1.5", "volumes[0].workload.depth: '1.5' is not a whole number"),
            (
                "depth: 4", "size: {4k: 60%, 8k: 30%}",
                "volumes[0].workload.size: the shares of all sizes are to be 100 %"
            ),
            ("depth: 4", "read: 101%", "volumes[0].workload.read: 101 % is not between"),
            ("maximum: 100", "maximum: 5", "s.yaml:4, policies.gold: minimum <= maximum <= burst is wanted"),
            ("credit: 5s", "credit: 61s", "policies.gold.credit: no more than 60 s"),
            ("credit: 5s", "burst-length: 5s", "policies.gold.burst-length: this is for 'limiter: qemu'"),
            (
                "kind: closed, depth: 4", "kind: trace, file: x, format: msr",
                "volumes[0].workload.file: there is no file 'dir/x'"
            ),
            (
                "kind: closed, depth: 4", "kind: phases, phases: [{kind: idle}]",
                "workload.phases[0]: the key 'for' is missing"
            ),
            ("kind: closed, depth: 4", "kind: backup", "volumes[0].workload: the key 'data' is missing"),
            ("count: 3", "count: 2000000", "volumes[0].count: 2000000 is not between"),
            (
                "name: v,", "name: v, policy2: a,",
                "volumes[0].policy2: there is no such key here; did you mean 'policy'?"
            ),
            ("iops: 1k", "iops: 99999999999999999999", "cluster.nodes[0].iops: '99999999999999999999' is not a whole"),
            ("iops: 1k", "capacity: {8k: 100}", "cluster.nodes[0].capacity: the IOPS of 4k are missing"),
        ])
    func deepErrors(old: String, new: String, expected: String) {
        let found = message { try parse(Self.minimal.replacingOccurrences(of: old, with: new)) }
        #expect(found.hasPrefix("invalidArgument: read scenario, dir/s.yaml:") && found.contains(expected), "\(found)")
    }

    @Test("The IOPS of each size that a data sheet gives are what a node does")
    func capacities() throws {
        let text = Self.minimal.replacingOccurrences(of: "iops: 1k", with: "capacity: {4k: 10k, 64k: 2k}")
            .replacingOccurrences(of: "policy: gold, ", with: "")
            .replacingOccurrences(of: "depth: 4", with: "depth: 64, size: 64k")
        let result = try run(try #require(try parse(text).runs.first))
        #expect(abs(Double(result.requests) - 2 * 2000 * 10) < 400, "\(result.requests)")
    }

    @Test("Numbers with units are exact, and what would be rounded is none")
    func quantities() {
        #expect(
            Quantity.time("1.5s") == 1_500_000_000 && Quantity.time("200us") == 200_000
                && Quantity.time("2 min") == 120_000_000_000)
        #expect(
            Quantity.time("5") == nil && Quantity.time("-5s") == nil && Quantity.time("0.1ns") == nil
                && Quantity.time("900000h") == nil)
        #expect(
            Quantity.size("4k") == 4096 && Quantity.size("1.5MiB") == 1_572_864 && Quantity.size("10TB") == 10 << 40)
        #expect(Quantity.size("4q") == nil && Quantity.size("99999999P") == nil && Quantity.size("") == nil)
        #expect(Quantity.count("400k") == 400_000 && Quantity.count("1_000") == 1000 && Quantity.count("1.5") == nil)
        #expect(Quantity.figure("13.5") == 13.5 && Quantity.figure("66.7%", isPercentage: true) == 66.7)
    }

    @Test("The published schema has the keys that are read, and no others")
    func schema() throws {
        let data = try Data(contentsOf: fixtures.appendingPathComponent("scenarios/schema.json"))
        let schema = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        let definitions = try #require(schema["$defs"] as? [String: [String: Any]])
        func keys(_ object: [String: Any]?) -> Set<String> {
            Set((object?["properties"] as? [String: Any] ?? [:]).keys)
        }
        #expect(keys(schema) == Set(ScenarioKeys.file))
        for (name, expected) in [
            ("run", ScenarioKeys.run), ("scheduler", ScenarioKeys.scheduler), ("cluster", ScenarioKeys.cluster),
            ("recovery", ScenarioKeys.recovery), ("node", ScenarioKeys.node), ("policy", ScenarioKeys.policy),
            ("volume", ScenarioKeys.volume), ("event", ScenarioKeys.event), ("setPolicy", ScenarioKeys.setPolicy),
            ("check", ScenarioKeys.check), ("search", ScenarioKeys.search),
        ] {
            #expect(keys(definitions[name]) == Set(expected), "\(name)")
        }
        for (kind, expected) in ScenarioKeys.workloads {
            #expect(keys(definitions[kind.rawValue]) == Set(expected + ["for"]), "\(kind)")
        }
        let metric = (definitions["check"]?["properties"] as? [String: [String: Any]])?["metric"]?["enum"] as? [String]
        #expect(Set(metric ?? []) == Set(Check.Metric.allCases.map(\.rawValue)))
    }

    @Test("Damaged files end with an error that names a line, or are read")
    func fuzz() throws {
        let folder = fixtures.appendingPathComponent("scenarios")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".yaml") }
            .sorted()
        var random = SeededGenerator(seed: 12)
        let pieces = [
            "{", "}", "[", "]", ": ", "- ", "\n", "  ", "&a ", "*a ", "9999999999999999999999", "-1", "\"", "!!binary ",
            "0s", "\u{0}",
        ]
        for name in names {
            let path = folder.appendingPathComponent(name).path
            let whole = Array(try String(contentsOfFile: path, encoding: .utf8).utf8)
            for _ in 0..<50 {
                var bytes = whole
                for _ in 0..<(1 + random.below(4)) {
                    let place = Int(random.below(UInt64(bytes.count)))
                    switch random.below(3) {
                    case 0: bytes.removeSubrange(place..<min(bytes.count, place + Int(random.below(30))))
                    case 1:
                        bytes.insert(contentsOf: Array(pieces[Int(random.below(UInt64(pieces.count)))].utf8), at: place)
                    default: bytes[place] = UInt8(random.below(128))
                    }
                }
                let found = message { try ScenarioFile(yaml: String(decoding: bytes, as: UTF8.self), path: path) }
                #expect(found == "no error" || found.hasPrefix("invalidArgument: read scenario, \(path):"), "\(found)")
            }
        }
    }

    @Test("Names that are code stay names in the page")
    func escaping() throws {
        let name = "<script>alert('x')</script>&\""
        var test = scenario(seconds: 1, policies: [try QoSPolicy()])
        test.name = name
        test.volumes[0].name = name
        let report = ScenarioReport(name: name, text: name, runs: [try run(test)], search: nil, searchChecks: [])
        let page = report.html()
        #expect(!page.contains("<script") && page.contains("&lt;script&gt;"))
        #expect(report.csv().contains("\"<script>alert('x')</script>&\"\"\""))
    }
}
