import ArgumentParser
import BlockStorage
import Sluice
import Templates

struct TemplateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "template", abstract: "Images that volumes are cloned from.",
        discussion: "Example: sluice template import fast/debian debian.qcow2 --format qcow2",
        subcommands: [Import.self, List.self, Delete.self])

    struct Import: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "import", abstract: "Check, unpack and inspect an image, and publish it for cloning.",
            discussion: """
                Files that end in .gz, .bz2, .xz, .zst or .zip are unpacked; the checksum is that of the file as it \
                is. An image that refers to other files, or is not what it is declared to be, is refused, and \
                nothing is left behind. The same again succeeds.

                From a web server nothing is kept on this host but the template: a raw disk (an ISO image is one) goes \
                into the pool as it comes, of a QCOW2 image the parts that are needed are fetched. A metalink \
                (.metalink, .meta4) stands for the file that it describes, which is read from several mirrors at \
                once. A server that is too slow, too large or too long ends the import; each limit is an option.

                Example: sluice template import fast/debian debian.qcow2 --format qcow2 --checksum sha256:9f86d0…
                Example: sluice template import fast/tiny file:///srv/images/tiny.raw.xz --format raw
                Example: sluice template import fast/debian https://images.example.org/debian.meta4 --format qcow2
                """)

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME of the template.")
        var template: VolumeAddress
        @Argument(help: "A path, or a file:, http: or https: URL; also of a metalink.", completion: .file())
        var source: String
        @Option(help: "What the image is: qcow2 or raw. It is never guessed.")
        var format: VolumeFormat
        @Option(
            help: ArgumentHelp(
                "What the file must add up to: md5, sha1, sha224, sha256, sha384 or sha512.", valueName: "alg:hex"),
            transform: { try Checksum($0) })
        var checksum: Checksum?
        @OptionGroup(title: "Downloads") var download: DownloadArguments

        func run(_ context: CommandContext) async throws -> ExitCode {
            let template = try template.withoutSnapshot("import template")
            let source = try TemplateLocation.source(source, download.options())
            let start = ContinuousClock.now
            let imported = try await context.watch(
                context.host.importTemplate(template, from: source, format, checksum: checksum))
            let elapsed = ContinuousClock.now - start
            let text =
                imported.wasThere
                ? "\(template) is there already" + imported.remarks
                : "imported \(source.name) as \(template), \(ByteCount(imported.template.virtualSize).text), "
                    + "in \(Times.text(elapsed))" + imported.remarks
            return context.print(imported.json(template, elapsed), text)
        }
    }

    struct List: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List a pool's templates.", discussion: "Example: sluice template list fast")

        @OptionGroup var global: GlobalOptions
        @Argument(help: "The pool.")
        var pool: String

        func run(_ context: CommandContext) async throws -> ExitCode {
            let templates = try await context.host.listTemplates(in: pool)
            return context.print(
                ["volumes": .array(templates.map(\.json))], templates.table("no template in \(pool)"))
        }
    }

    struct Delete: HostCommand {
        static let configuration = CommandConfiguration(
            commandName: "delete",
            abstract: "Delete a template that has no clones; one that is not there is deleted already.",
            discussion: "Example: sluice template delete fast/debian")

        @OptionGroup var global: GlobalOptions
        @Argument(help: "POOL/NAME.")
        var template: VolumeAddress

        func run(_ context: CommandContext) async throws -> ExitCode {
            let template = try template.withoutSnapshot("delete template")
            try await context.host.deleteTemplate(template)
            return context.print(["deleted": .string("\(template)")], "deleted \(template)")
        }
    }
}

extension ImportedTemplate {
    /// The document of `template import`: what `volume list` says of it, and how the import went.
    fileprivate func json(_ address: VolumeAddress, _ elapsed: Duration) -> JSON {
        [
            "pool": .string(address.pool), "name": .string(address.name), "path": .string(template.path),
            "format": JSON(template.format?.rawValue), "virtualSize": .unsigned(template.virtualSize),
            "allocatedSize": .unsigned(template.allocatedSize), "checksum": JSON(record.checksum?.description),
            "wasThere": .bool(wasThere), "elapsedMicroseconds": .unsigned(Times.microseconds(elapsed)),
            "locations": .array((report?.locations ?? []).map(\.json)),
            "changes": .array((report?.changes ?? []).map { .string($0) }),
        ]
    }

    /// What was wrong with the locations that it was read from, and what changed at the source, a line each.
    fileprivate var remarks: String {
        let bad = (report?.locations ?? []).filter { $0.failures + $0.checksumFailures > 0 }.map { location in
            var counts: [String] = []
            if location.failures > 0 { counts.append("\(location.failures) failed") }
            if location.checksumFailures > 0 { counts.append("\(location.checksumFailures) with wrong bytes") }
            let outcome = location.isLeft ? ", not asked any more" : ""
            return
                "\nbad location \(location.name): \(counts.joined(separator: ", "))\(outcome): \(location.reason ?? "")"
        }
        return bad.joined() + (report?.changes ?? []).map { "\nthe source changed: \($0)" }.joined()
    }
}

extension DownloadReport.Location {
    fileprivate var json: JSON {
        [
            "name": .string(name), "bytesReceived": .unsigned(bytesReceived), "failures": .unsigned(UInt64(failures)),
            "checksumFailures": .unsigned(UInt64(checksumFailures)), "left": .bool(isLeft), "reason": JSON(reason),
        ]
    }
}
