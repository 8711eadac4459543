import Testing

@testable import NBDExport
